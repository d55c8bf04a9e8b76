# The script that flakeup sends to hosts, assembled from its parts in the order given by
# components/pipeline/activation/runner/__init__.py; a test compares it with what is really sent.
#
# It is outside this folder. If the flake is addressed as a folder of its repository (`nix flake check
# ./flake`, or `git+file:…?dir=flake`) the whole repository is there; flakeup itself uses
# `path:./flake`, which is only the folder, and needs no runner from it: then `null`.
let
  inherit (builtins)
    concatStringsSep
    elemAt
    filter
    head
    isString
    match
    pathExists
    readFile
    split
    ;
  folder = ../../components/pipeline/activation/runner;
  source = readFile (folder + "/__init__.py");
  list = head (split "\n[)]" (elemAt (split "PARTS: Final = [(]\n" source) 2));
  partOf = line: match " *\"([a-z]+)\"," line;
  parts = map (line: head (partOf line)) (
    filter (line: isString line && partOf line != null) (split "\n" list)
  );
in
if pathExists (folder + "/__init__.py") then
  concatStringsSep "" ([ "#!/bin/sh\n" ] ++ map (part: readFile (folder + "/${part}.sh")) parts)
else
  null
