"""Several embodiments around one trunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor, nn

from hpt_ros.embodiment import Embodiment
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.policy import HPTPolicy
from hpt_ros.model.trunk import Trunk


class MultiPolicy(nn.Module):
    """An `HPTPolicy` per domain, all with the very same trunk; a frozen image encoder is one as well.

    Args:
        embodiments: by domain, which is also the name under which their stems and heads are stored.

    Raises:
        ConfigError, DataError: as `HPTPolicy`.
    """

    def __init__(self, config: PolicyConfig, embodiments: Mapping[str, Embodiment], *, pretrained: bool = True) -> None:
        super().__init__()
        self.policies = nn.ModuleDict()
        for domain, embodiment in embodiments.items():
            read = pretrained and not (self.policies and not config.encoder.trained)
            policy = HPTPolicy(config, replace(embodiment, name=domain), pretrained=read)
            config = policy.config  # with the hash and the sizes of the encoder's weights
            if self.policies:
                first = next(iter(self.policies.values()))
                policy.trunk = first.trunk  # type: ignore[assignment]
                if not config.encoder.trained:
                    policy.encoder("image").net = first.encoder("image").net  # type: ignore[operator]
            self.policies[domain] = policy
        self.config = config

    def __getitem__(self, domain: str) -> HPTPolicy:
        policy: HPTPolicy = self.policies[domain]  # type: ignore[assignment]
        return policy

    @property
    def domains(self) -> tuple[str, ...]:
        """In the order that they were given in."""
        return tuple(self.policies)

    @property
    def trunk(self) -> Trunk:
        """What all domains share."""
        return self[self.domains[0]].trunk

    def own_parameters(self, domain: str) -> list[nn.Parameter]:
        """The parameters of a domain that train and that no other domain shares: its encoders, stems and head."""
        own = {id(p) for p in self.trunk.parameters()}
        return [p for p in self[domain].parameters() if p.requires_grad and id(p) not in own]

    def named(self) -> list[tuple[str, nn.Parameter]]:
        """Every parameter once, by its published name."""
        return list({name: p for domain in self.domains for name, p in self[domain].named_parameters()}.items())

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its published name: `trunk.*` once, `stems.DOMAIN_*`, `heads.DOMAIN.*` and the like by domain."""
        return {name: tensor for domain in self.domains for name, tensor in self[domain].state_dict().items()}
