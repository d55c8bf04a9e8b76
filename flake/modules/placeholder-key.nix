# Stands for your own key; its private half was thrown away.
"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHWe87RmxiX3myL66VU574fGonjzOMOYSqIL9TX/ys5H template"
