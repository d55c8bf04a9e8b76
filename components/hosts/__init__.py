"""Hosts on their toplevels: NixOS machines over ssh, and the instances that the program makes."""
