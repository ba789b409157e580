"""HAProxy: its rendered file, its process, its runtime socket, statistics and log."""
