"""The sizes of a published policy, from the shapes of its tensors and the config.yaml beside it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor

from hpt_ros.errors import ConfigError, DataError
from hpt_ros.model.config import EncoderConfig, HeadConfig, LanguageConfig, LoraConfig, PolicyConfig, Pooling
from hpt_ros.model.published import PublishedFile

RESNET_FEATURES = 512
RESNET_WEIGHTS = ".cache/resnet18-f37072fd.pth"
PUBLISHED_STEPS = 100  # of denoising, in training and for a chunk alike
HEAD_DIM = 64  # of a stem's cross-attention, in every published configuration
_POOLINGS: dict[str, str] = {"no-op": "none"} | {name: name for name in get_args(Pooling)}
_FACTOR = re.compile(r".*(in_proj|out_proj|fc1|fc2)[_.]lora_a")


def trunk_sizes(file: PublishedFile, num_heads: int | None = None) -> dict[str, int]:
    """embed_dim, num_blocks and num_heads; the last leaves no trace in the tensors.

    Raises:
        DataError: no trunk in the file, or no word on the number of heads.
    """
    norms = [t for name, t in file.trunk.items() if re.fullmatch(r"trunk\.blocks\.\d+\.norm_1\.weight", name)]
    if not norms:
        raise DataError(f"{file.origin}: no trunk in it: trunk.blocks.0.norm_1.weight is missing", "pass another file")
    heads = num_heads or file.setting("network", "num_heads")
    if heads is None:
        raise DataError(
            f"{file.origin}: the number of attention heads is not known: no tensor shows it",
            "put the config.yaml of the weights beside them, or give the number",
        )
    return {"embed_dim": len(norms[0]), "num_blocks": len(norms), "num_heads": heads}


def infer_config(file: PublishedFile, domain: str, num_heads: int | None = None, **others: Any) -> PolicyConfig:
    """The configuration of a whole policy; `others` go before what the file says.

    Raises:
        DataError: as `trunk_sizes`, or a head or stem that cannot be recognised from its tensors.
        ConfigError: sizes that do not fit each other, or an unknown kind of pooling.
    """
    found = trunk_sizes(file, num_heads) | _stem_sizes(file, domain)
    found["pooling"] = _pooling(file, domain)
    found["head"] = _head(file, domain)
    image = file.tensors.get(f"stems.{domain}_image.net.0.weight")
    if image is not None and image.shape[1] == RESNET_FEATURES:
        found["encoder"] = EncoderConfig("resnet18", RESNET_WEIGHTS)
    language = file.tensors.get(f"stems.{domain}_language.net.0.weight")
    if language is not None:
        found["language"] = LanguageConfig(width=language.shape[1])
    found["lora"] = _lora(file)
    return PolicyConfig(**found | others)


def _stem_sizes(file: PublishedFile, domain: str) -> dict[str, Any]:
    sizes: dict[str, Any] = {}
    for modality in file.modalities(domain):
        stem = f"stems.{domain}_{modality}"
        sizes[f"{modality}_tokens"] = _tensor(file, f"{stem}.tokens").shape[1]
        inner = _tensor(file, f"{stem}.cross_attention.to_q.weight").shape[0]
        heads = file.setting("stem", "crossattn_heads", max(inner // HEAD_DIM, 1))
        sizes["stem_hidden"] = _tensor(file, f"{stem}.net.0.weight").shape[0]
        sizes |= {"stem_heads": heads, "stem_head_dim": inner // heads}
    known = PolicyConfig.__dataclass_fields__
    unknown = [name.removesuffix("_tokens") for name in sizes if name not in known]
    if unknown:
        names = ", ".join(name.removesuffix("_tokens") for name in known if name.endswith("_tokens"))
        raise DataError(
            f"{file.origin}: stem stems.{domain}_{unknown[0]} is of an unknown modality; known: {names}",
            "fine-tune from its trunk alone, or register the modality",
        )
    return sizes


def _pooling(file: PublishedFile, domain: str) -> str:
    if f"action_tokens.{domain}" in file.tensors:
        return "action_token"
    found = file.setting("network", "token_postprocessing", "mean")
    if found not in _POOLINGS:
        raise ConfigError("network.token_postprocessing", found, f"one of {', '.join(_POOLINGS)}")
    return _POOLINGS[found]


def _head(file: PublishedFile, domain: str) -> HeadConfig:
    """The kind of head shows in the names of its tensors."""
    prefix = f"heads.{domain}."
    own = {name.removeprefix(prefix): t for name, t in file.tensors.items() if name.startswith(prefix)}
    if "mean_layer.weight" in own:
        return HeadConfig("gmm", widths=_widths(own, "share."), modes=len(own["logits_layer.bias"]))
    if any(name.startswith("model.down_modules.") for name in own):
        downs = [re.fullmatch(r"model\.down_modules\.\d+\.0\.blocks\.0\.block\.0\.bias", name) for name in own]
        dims = tuple(len(own[found[0]]) for found in downs if found)
        return HeadConfig("diffusion", down_dims=dims, denoise_steps=PUBLISHED_STEPS, train_steps=PUBLISHED_STEPS)
    if "cross_attention.to_q.weight" in own:
        return HeadConfig("transformer_decoder")
    widths = _widths(own, "net.")
    if len(widths) < 2:
        have = sorted({".".join(name.split(".")[:2]) for name in own})
        raise DataError(
            f"{file.origin}: the head heads.{domain} is of no published kind; it has {', '.join(have) or 'no tensors'}",
            "pass config= with the head it was trained with",
        )
    return HeadConfig("mlp", widths=widths[:-1])


def _widths(own: Mapping[str, Tensor], prefix: str) -> tuple[int, ...]:
    """Outputs of the linear layers of a published sequence, first to last."""
    layers = {
        int(name.removeprefix(prefix).split(".")[0]): len(t)
        for name, t in own.items()
        if name.startswith(prefix) and name.endswith(".weight") and t.ndim == 2
    }
    return tuple(layers[i] for i in sorted(layers))


def _lora(file: PublishedFile) -> LoraConfig | None:
    found = {m[1]: len(t) for name, t in file.trunk.items() if (m := _FACTOR.fullmatch(name))}
    if not found:
        return None
    raise DataError(
        f"{file.origin}: the trunk has LoRA factors ({', '.join(found)}), whose alpha no tensor shows",
        "pass config= with lora",
    )


def _tensor(file: PublishedFile, name: str) -> Tensor:
    if name not in file.tensors:
        raise DataError(f"{file.origin}: missing: {name}", "pass the complete file of the policy")
    return file.tensors[name]
