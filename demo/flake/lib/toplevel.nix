# The system: the files of a NixOS toplevel, with their names.
{
  name,
  label,
  opts,
  build,
  text,
  packages,
  path,
  systemUnits,
}:
let
  program = import ./switch-program.nix;

  etc = build {
    name = "etc";
    extraText = opts.extraText;
    script = ''
      mkdir -p $out/etc/systemd
      ln -s ${systemUnits} $out/etc/systemd/system
      ${if program == null then "" else "ln -s /etc/systemd/system.conf $out/etc/systemd/system.conf"}
      echo ${name} > $out/etc/hostname
      printf %s "$extraText" > $out/etc/extra-text
    '';
  };

  writeFaults = text.concatLines (
    map (fault: "printf %s ${text.quote opts.faults.${fault}} > $out/faults/${fault}") (
      builtins.attrNames opts.faults
    )
  );

  brokenTools = ''
    mkdir -p $out/sw/bin
    for tool in cat flock mv readlink systemctl; do
      printf '#!/bin/sh\nexit 1\n' > $out/sw/bin/$tool
      chmod +x $out/sw/bin/$tool
    done
  '';
in
build {
  name = "nixos-system-${name}-${label}";
  inherit (opts) kernelParams;
  nixosLabel = label;
  payload = packages.payload {
    seed = name + opts.payloadSeed;
    count = opts.payloadPaths;
    megabytes = opts.payloadMegabytes;
  };
  script = ''
    mkdir -p $out/bin $out/faults
    ${writeFaults}
    ${if opts.faults ? build-fails then "echo 'cannot build this host (fault build-fails)' >&2; exit 1" else ""}

    ln -s ${etc}/etc $out/etc
    ${if opts.faults ? tools-broken then brokenTools else "ln -s ${path} $out/sw"}
    ln -s ${packages.linux opts.kernel}/bzImage $out/kernel
    ln -s ${packages.initrd opts.kernel}/initrd $out/initrd
    ln -s ${packages.modules opts.kernel} $out/kernel-modules
    printf %s "$kernelParams" > $out/kernel-params
    echo -n "${opts.initInterface}" > $out/init-interface-version
    printf %s "$nixosLabel" > $out/nixos-version
    printf %s "$system" > $out/system
    printf %s "$payload" > $out/extra-dependencies

    # Wrappers around scripts that all hosts share, as nixpkgs wraps its switch-to-configuration.
    wrap() { # FILE SCRIPT
      printf '#!/bin/sh\nexport OUT=%s ACTIVATION_SECONDS=%s SWITCH_PROGRAM=%s\nexec /bin/sh %s "$@"\n' \
        "$out" "${toString opts.activationSeconds}" "${if program == null then "" else program}" \
        "${../scripts}/$2.sh" > "$out/$1"
      chmod +x "$out/$1"
    }
    wrap init init
    ${if opts.faults ? points-init then "wrap prepare-root init" else ""}
    wrap activate activate
    wrap dry-activate dry-activate
    wrap pre-switch-checks pre-switch-checks
    wrap install-bootloader install-bootloader
    wrap bin/switch-to-configuration ${
      if program == null then "switch-to-configuration" else "run-switch-program"
    }
  '';
}
