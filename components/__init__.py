"""flakeup's Pulumi resources: one file for each thing that a person sees in `pulumi up`."""
