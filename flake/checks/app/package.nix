# A minimal app that meets the flake's requirements (README.md): for checks, and to start from.
{
  lib,
  python3Minimal,
  runtimeShell,
  stdenvNoCC,
}:
stdenvNoCC.mkDerivation {
  pname = "app";
  version = "1";
  dontUnpack = true;

  installPhase = ''
    mkdir -p $out/bin $out/share/app
    echo well >$out/share/app/health
    cat >$out/bin/web <<END
    #!${runtimeShell}
    exec ${lib.getExe python3Minimal} -m http.server --directory $out/share/app "\''${PORT:-8080}"
    END
    for name in worker sidekiq; do
      printf '#!%s\nexec sleep infinity\n' ${runtimeShell} >$out/bin/$name
    done
    chmod +x $out/bin/*
  '';

  meta.platforms = lib.platforms.linux;
}
