{
  deadnix,
  nixfmt,
  runCommand,
  self,
  shellcheck,
  statix,
}:
runCommand "style"
  {
    nativeBuildInputs = [
      deadnix
      nixfmt
      shellcheck
      statix
    ];
  }
  ''
    cd ${self}
    find . -name '*.nix' -exec nixfmt --check {} +
    deadnix --fail .
    statix check .
    find . -name '*.sh' -exec shellcheck --shell=sh {} +
    touch $out
  ''
