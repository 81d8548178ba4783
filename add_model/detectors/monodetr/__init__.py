"""MonoDETR (Zhang et al., ICCV 2023)."""
