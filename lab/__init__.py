"""A local LXC/LXD autoscaling lab."""

__version__ = "0.1.0"
