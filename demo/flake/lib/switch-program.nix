# NixOS's own switch-to-configuration where tests have put it into the flake (FLAKEUP_SWITCH), else null.
if builtins.pathExists ../switch-program then "${../switch-program}" else null
