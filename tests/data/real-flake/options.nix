# The options of flake/modules as plain data, without nixpkgs: stubs of the few library functions that
# a declaration needs. What a module configures is not evaluated.
{ modules }:
let
  inherit (builtins)
    attrNames
    concatLists
    concatStringsSep
    filter
    isFunction
    map
    match
    pathExists
    readDir
    ;

  type = name: {
    _type = "option-type";
    inherit name;
  };
  wrapped = name: inner: type "${name} ${inner.name}" // { nested = inner.nested or null; };
  lib = {
    mkOption = declared: declared // { _type = "option"; };
    literalExpression = text: { inherit text; };
    literalMD = text: { inherit text; };
    types = {
      attrsOf = wrapped "attrsOf";
      bool = type "bool";
      enum = _: type "enum";
      int = type "int";
      listOf = wrapped "listOf";
      nullOr = wrapped "nullOr";
      package = type "package";
      path = type "path";
      port = type "port";
      str = type "str";
      strMatching = _: type "strMatching";
      submodule = nested: type "submodule" // { inherit nested; };
    };
  };
  # The arguments of a module; evaluating a value of the configuration is an error here.
  arguments = {
    inherit lib;
    config.flakeup = throw "the configuration was evaluated";
    inputs = { };
    modulesPath = "";
    name = "name";
    pkgs = { };
  };
  optionsOf = module: (if isFunction module then module arguments else module).options or { };

  declared =
    path: options:
    if options._type or null == "option" then
      [
        {
          name = concatStringsSep "." path;
          description = options.description or "";
          type = options.type.name or "";
          default = options ? default;
          example = options ? example;
        }
      ]
      ++ (
        if options.type.nested or null == null then
          [ ]
        else
          declared (path ++ [ "<name>" ]) (optionsOf options.type.nested)
      )
    else
      concatLists (map (name: declared (path ++ [ name ]) options.${name}) (attrNames options));

  files = filter (file: match ".*[.]nix" file != null && file != "placeholder-key.nix") (
    attrNames (readDir modules)
  );
in
assert pathExists (modules + "/health.nix");
concatLists (map (file: declared [ ] (optionsOf (import (modules + "/${file}")))) files)
