"""CaDDN (Reading et al., CVPR 2021)."""
