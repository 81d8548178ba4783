"""GUPNet (Lu et al., ICCV 2021)."""
