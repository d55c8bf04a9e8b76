# The documentation of this flake's options, as a page. It fails for an option without a description.
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
  # Options of a kind of machine exist only on such a host.
  options.flakeup = optionsOf "web" // {
    inherit (optionsOf "staging-web") incus;
  };
  # Declarations are store paths, which every change would change.
  transformOptions =
    option:
    option
    // {
      declarations = map (file: lib.removePrefix root (toString file)) option.declarations;
    };
}).optionsCommonMark
