# The documentation of this flake's options, as a page. An option without a description fails it.
{
  lib,
  nixosOptionsDoc,
  self,
}:
let
  optionsOf = name: self.nixosConfigurations.${name}.options.flakeup;
  root = "${self}/";
in
(nixosOptionsDoc {
  # All of them: those of a machine are only there on a host that is one.
  options.flakeup = optionsOf "web" // {
    inherit (optionsOf "staging-web") incus;
  };
  # Where an option is declared is a path in the store, which every change would move.
  transformOptions =
    option:
    option
    // {
      declarations = map (file: lib.removePrefix root (toString file)) option.declarations;
    };
}).optionsCommonMark
