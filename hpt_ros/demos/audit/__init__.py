"""What is wrong with recordings and demonstration sets, before a policy learns from it."""

from hpt_ros.demos.audit.audit import AuditReport, audit
from hpt_ros.demos.audit.config import AuditConfig
from hpt_ros.demos.audit.findings import KINDS, Finding, Group, kinds_table

__all__ = ["KINDS", "AuditConfig", "AuditReport", "Finding", "Group", "audit", "kinds_table"]
