"""What training minimises: the baseline, a teacher with depth, and distillation (ADD)."""
