"""MonoDLE (Ma et al., CVPR 2021)."""
