"""Which quality of service to ask for, and whether what is offered can serve it (DDS 1.4, 2.2.3: offered against requested)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rosbags.interfaces import Qos, QosDurability, QosReliability


@dataclass(frozen=True)
class Request:
    """What a subscription asks for; deadline and liveliness are left open, which every offer serves."""

    reliable: bool
    transient_local: bool


def request_for(offers: Iterable[Qos]) -> Request:
    """The strictest request that every offer serves.

    A best-effort reader loses fragments of large images, a reliable one never hears a best-effort writer; a latched
    message that was sent before comes to a transient-local reader only.
    """
    offers = list(offers)
    return Request(
        reliable=bool(offers) and all(offer.reliability == QosReliability.RELIABLE for offer in offers),
        transient_local=bool(offers) and all(offer.durability == QosDurability.TRANSIENT_LOCAL for offer in offers),
    )


def mismatches(request: Request, offers: Iterable[Qos]) -> list[str]:
    """Why offers cannot serve the request; empty when all can."""
    reasons = []
    for offer in offers:
        if request.reliable and offer.reliability == QosReliability.BEST_EFFORT:
            reasons.append("offered best effort, requested reliable")
        if request.transient_local and offer.durability == QosDurability.VOLATILE:
            reasons.append("offered volatile, requested transient local")
    return reasons
