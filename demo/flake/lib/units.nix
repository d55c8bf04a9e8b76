# Unit files and the system-units tree, with the names and layout of nixpkgs.
{ build, text }:
rec {
  # A derivation per unit, with its text in the environment, where it can be read from the .drv.
  makeUnit =
    name: content:
    build {
      name = "unit-${text.storeName name}";
      text = content;
      script = ''
        name=${text.quote name}
        mkdir -p "$out/${dirOf name}"
        printf %s "$text" > "$out/$name"
      '';
    };

  # The target that pulls a unit in; none for templates, drop-ins and targets, nor for what a timer or
  # socket of the same name starts.
  wantedBy =
    units: name:
    let
      base = text.removeSuffix ".service" name;
    in
    if builtins.match ".*(@\\.|/).*" name != null then
      null
    else if base != name && (units ? "${base}.timer" || units ? "${base}.socket") then
      null
    else if text.hasSuffix ".service" name then
      "multi-user.target"
    else if text.hasSuffix ".socket" name then
      "sockets.target"
    else if text.hasSuffix ".timer" name then
      "timers.target"
    else
      null;

  # `units`: name -> text. `hostUnits`: units of the host's distribution, wanted by multi-user.target.
  systemUnits =
    { units, hostUnits }:
    build {
      name = "system-units";
      script = text.concatLines (
        [ "mkdir -p $out/multi-user.target.wants" ]
        ++ map (
          name:
          let
            target = wantedBy units name;
          in
          ''
            mkdir -p "$out/${dirOf name}"
            ln -s ${makeUnit name units.${name}}/${name} "$out/${name}"
            ${
              if target == null then
                ""
              else
                ''
                  mkdir -p $out/${target}.wants
                  ln -s ../${name} $out/${target}.wants/${name}
                ''
            }
          ''
        ) (builtins.attrNames units)
        ++ map (
          name: "ln -s /usr/lib/systemd/system/${name} $out/multi-user.target.wants/${name}"
        ) hostUnits
      );
    };
}
