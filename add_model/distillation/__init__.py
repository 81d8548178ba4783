"""ADD (Wu et al., AAAI 2023): a student learns from a teacher that also sees ground-truth depth. Training only.

What the paper states and what is this project's reconstruction is said in docs/research/distillation.md.
"""
