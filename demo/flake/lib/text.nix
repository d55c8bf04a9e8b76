# The few text functions that nixpkgs' lib would give.
rec {
  concatLines = builtins.concatStringsSep "\n";

  firstLine = text: builtins.head (builtins.split "\n" text);

  quote = text: "'${builtins.replaceStrings [ "'" ] [ "'\\''" ] text}'";

  hasSuffix =
    suffix: text:
    let
      rest = builtins.stringLength text - builtins.stringLength suffix;
    in
    rest >= 0 && builtins.substring rest (-1) text == suffix;

  # A store path's name may not hold all that a unit's name may (as nixpkgs' mkPathSafeName).
  storeName = builtins.replaceStrings [ "@" ":" "\\" "/" ] [ "-" "-" "-" "-" ];
}
