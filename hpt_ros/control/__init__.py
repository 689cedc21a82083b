"""From chunks of actions to safe commands."""
