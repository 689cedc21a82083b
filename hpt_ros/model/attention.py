"""Scaled dot-product attention, by whichever of torch's ways is fast where it runs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(q: Tensor, k: Tensor, v: Tensor, keep: Tensor | None = None, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for q (N, H, Q, d), k and v (N, H, L, d); `keep`, bool (N, 1, 1, L), hides keys.

    Written out in bfloat16 on a CPU: the backward pass of torch's own kernel takes ten times as long there (seen with torch 2.13).
    Either way softmax computes in float32 inside.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=dropout)
    shape = q.shape
    q, k, v = (tensor.flatten(0, 1) for tensor in (q, k, v))
    scores = torch.baddbmm(q.new_empty(()), q, k.transpose(1, 2), beta=0, alpha=q.shape[-1] ** -0.5)
    if keep is not None:
        scores = scores.view(*shape[:3], -1).masked_fill(~keep, -torch.inf).flatten(0, 1)
    weights = F.dropout(scores.softmax(dim=-1), dropout)
    return torch.bmm(weights.to(v.dtype), v).view(*shape[:3], -1)
