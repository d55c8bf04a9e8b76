# The few text functions that are needed of nixpkgs' lib.
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

  removeSuffix =
    suffix: text:
    if hasSuffix suffix text then
      builtins.substring 0 (builtins.stringLength text - builtins.stringLength suffix) text
    else
      text;

  # The name of a store path allows fewer characters than that of a unit (as nixpkgs' mkPathSafeName).
  storeName = builtins.replaceStrings [ "@" ":" "\\" "/" ] [ "-" "-" "-" "-" ];
}
