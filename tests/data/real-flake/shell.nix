# `devShells` of the flake, without nixpkgs: stubs of the functions and packages that it uses.
{ flake, pulumi }:
let
  inherit (builtins) compareVersions functionArgs listToAttrs;
  package = name: { inherit name; };
  lib = {
    genAttrs =
      names: f:
      listToAttrs (
        map (name: {
          inherit name;
          value = f name;
        }) names
      );
    makeLibraryPath = map (library: "${library.name}/lib");
    versionOlder = a: b: compareVersions a b < 0;
    # In nixpkgs, a line on stderr.
    warnIf =
      condition: text: value:
      if condition then value // { warning = text; } else value;
  };
  pkgs = {
    inherit lib;
    callPackage =
      file: _:
      let
        f = import file;
      in
      f (builtins.intersectAttrs (functionArgs f) pkgs);
    mkShell = shell: shell;
    git = package "git";
    nix = package "nix";
    openssh = package "openssh";
    pulumi-bin = package "pulumi" // {
      version = pulumi;
    };
    python3 = package "python3";
    stdenv.cc.cc = package "gcc";
  };
  outputs = (import (flake + "/flake.nix")).outputs {
    self = { };
    nixpkgs = {
      inherit lib;
      legacyPackages = {
        x86_64-linux = pkgs;
        aarch64-linux = pkgs;
      };
    };
  };
in
outputs.devShells
