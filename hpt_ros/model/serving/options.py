"""How a policy is served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from hpt_ros.configuration import check

Quantize = Literal["none", "int8"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class ServingOptions:
    """Where and how exactly a policy computes.

    device: `cpu`, `cuda` or `cuda:N`.
    dtype: of image encoder and trunk; all else is float32.
    compile: hand both to torch.compile; takes a C++ compiler and up to a minute at load.
    quantize: `int8` for the trunk's products; CPU only.
    """

    device: str = "cpu"
    dtype: Precision = "float32"
    compile: bool = False
    quantize: Quantize = "none"

    def __post_init__(self) -> None:
        check(self.device.split(":")[0] in ("cpu", "cuda"), "device", self.device, "cpu, cuda or cuda:N")
        if self.cuda:
            check(torch.cuda.is_available(), "device", self.device, "cpu", "install a CUDA build of torch and a driver")
        check(self.dtype in ("float32", "bfloat16"), "dtype", self.dtype, "float32 or bfloat16")
        check(self.quantize in ("none", "int8"), "quantize", self.quantize, "none or int8")
        int8_fits = not self.cuda and self.dtype == "float32" and not self.compile
        check(
            self.quantize == "none" or int8_fits,
            "quantize",
            self.quantize,
            "none, unless on cpu, float32, not compiled",
        )

    @property
    def cuda(self) -> bool:
        """Whether a GPU computes."""
        return self.device.startswith("cuda")

    @property
    def exact(self) -> bool:
        """Whether only rounding of float32 may separate the served policy from the trained one."""
        return self.dtype == "float32" and self.quantize == "none"
