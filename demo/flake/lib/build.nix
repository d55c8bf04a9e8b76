# A derivation from a POSIX shell script, without a standard environment. As with nixpkgs' runCommand,
# the script is the variable `buildCommand`, where it can be read from the .drv.
system:
{
  name,
  script,
  ...
}@args:
derivation (
  removeAttrs args [ "script" ]
  // {
    inherit system;
    buildCommand = script;
    builder = "/bin/sh";
    args = [
      "-euc"
      # busybox where the sandbox has it; else the PATH of a build without sandbox.
      ''
        if [ -x /bin/busybox ]; then
          mkdir() { /bin/busybox mkdir "$@"; }
          ln() { /bin/busybox ln "$@"; }
          cp() { /bin/busybox cp "$@"; }
          chmod() { /bin/busybox chmod "$@"; }
          head() { /bin/busybox head "$@"; }
          yes() { /bin/busybox yes "$@"; }
        else
          PATH=/usr/bin:/bin:/run/current-system/sw/bin
          command -v mkdir > /dev/null || {
            echo "no /bin/busybox in the build sandbox: add extra-sandbox-paths = /bin/busybox to nix.conf" >&2
            exit 1
          }
        fi
        eval "$buildCommand"
      ''
    ];
    # As nixpkgs does for small files: to ask a cache takes longer than to build them.
    preferLocalBuild = true;
    allowSubstitutes = false;
  }
)
