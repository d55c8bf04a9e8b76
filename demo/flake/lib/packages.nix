# The packages of the systems. They have pname and version, as in nixpkgs, so that the versions of two
# systems can be compared by their derivations alone.
{ build, text }:
let
  package =
    {
      pname,
      version,
      ...
    }@args:
    build (args // { name = "${pname}-${version}"; });
in
{
  # `source` is the flake's input: a tree with VERSION, serve.sh and worker.sh. `answers` is a version
  # to report instead of its own.
  app =
    {
      source,
      answers ? null,
    }:
    let
      version = builtins.replaceStrings [ "\n" ] [ "" ] (builtins.readFile "${source}/VERSION");
      answer = if answers == null then version else answers;
    in
    package {
      pname = "app";
      inherit version;
      src = "${source}";
      script = ''
        mkdir -p $out/bin $out/share/app
        cp "$src/serve.sh" "$src/worker.sh" $out/share/app/
        echo ${text.quote answer} > $out/share/app/VERSION
        for command in serve worker; do
          printf '#!/bin/sh\nexec /bin/sh %s "$@"\n' "$out/share/app/$command.sh" > $out/bin/app-$command
          chmod +x $out/bin/app-$command
        done
      '';
    };

  motd = package {
    pname = "motd";
    version = "1.0";
    script = ''
      mkdir -p $out/bin
      printf '#!/bin/sh\necho "a demo host: what runs here came from a flake"\n' > $out/bin/motd
      chmod +x $out/bin/motd
    '';
  };

  linux =
    version:
    package {
      pname = "linux";
      inherit version;
      script = ''
        mkdir $out
        echo "kernel ${version}" > $out/bzImage
      '';
    };

  modules =
    version:
    build {
      name = "linux-${version}-modules";
      script = "mkdir -p $out/lib/modules/${version}";
    };

  initrd =
    version:
    build {
      name = "initrd-linux-${version}";
      script = ''
        mkdir $out
        echo "initrd of ${version}" > $out/initrd
      '';
    };

  # Ballast: `count` paths of `megabytes` each, different from host to host (`seed`).
  payload =
    {
      seed,
      count,
      megabytes,
    }:
    builtins.genList (
      index:
      build {
        name = "payload-${toString index}";
        script = ''
          mkdir $out
          yes ${text.quote "${seed} ${toString index}"} | head -c ${toString (megabytes * 1048576)} > $out/data
        '';
      }
    ) count;

  systemPath =
    paths:
    build {
      name = "system-path";
      inherit paths;
      script = ''
        mkdir -p $out/bin
        for path in $paths; do
          for file in "$path"/bin/*; do
            ln -s "$file" $out/bin/
          done
        done
      '';
    };
}
