"""The driver's whole trade on one machine: a real server, a real client, real block devices, and nothing left behind."""
