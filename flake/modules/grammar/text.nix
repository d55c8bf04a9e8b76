# What the other two files share: rules, times, and texts with placeholders.
let
  inherit (builtins)
    concatStringsSep
    elem
    elemAt
    filter
    fromJSON
    head
    isList
    match
    split
    stringLength
    tail
    ;

  maxText = 1000;
  placeholders = [
    "address"
    "name"
    "appRef"
    "appRev"
    "toplevel"
  ];

  matches = pattern: text: match pattern text != null;
  # The message of the first rule that applies, or nothing.
  firstOf =
    rules:
    if rules == [ ] then
      [ ]
    else if (head rules).when then
      [ (head rules).why ]
    else
      firstOf (tail rules);
  rule = when: why: { inherit when why; };

  secondsOf =
    text:
    let
      parts = match "(0|[1-9][0-9]{0,4})([smh])" text;
      unit = {
        s = 1;
        m = 60;
        h = 3600;
      };
    in
    if parts == null then null else fromJSON (elemAt parts 0) * unit.${elemAt parts 1};

  time =
    {
      most,
      zero ? false,
    }:
    text:
    let
      seconds = secondsOf text;
    in
    firstOf [
      (rule (seconds == null) "is not a whole number with one unit, such as 30s")
      (rule (seconds == 0 && !zero) "is less than 1s")
      (rule (seconds > secondsOf most) "is more than ${most}")
    ];

  pieces = split "(\\{\\{|}}|\\{[^{}]*}|[{}])";
  bracesIn = text: map head (filter isList (pieces text));
  named = brace: match "\\{([^{}]+)}" brace;
  namesIn =
    text: map (brace: head (named brace)) (filter (brace: named brace != null) (bracesIn text));
  # As flakeup checks a text: `{address}` becomes an address, every other placeholder a word.
  fill =
    text:
    concatStringsSep "" (
      map (
        piece:
        if !isList piece then
          piece
        else if head piece == "{{" then
          "{"
        else if head piece == "}}" then
          "}"
        else if head piece == "{address}" then
          "192.0.2.1"
        else
          "name"
      ) (pieces text)
    );

  template =
    text:
    let
      stray = filter (
        brace:
        elem brace [
          "{"
          "}"
        ]
      ) (bracesIn text);
      unknown = filter (name: !elem name placeholders) (namesIn text);
    in
    firstOf [
      (rule (matches "[[:space:]]*" text) "is empty")
      (rule (stringLength text > maxText) "is longer than ${toString maxText} bytes")
      (rule (matches ".*[[:cntrl:]].*" text) "has a control character")
      (rule (stray != [ ]) "has an unmatched brace: write {{ or }} for a brace itself")
      (rule (elem "{}" (bracesIn text)) "has a placeholder without a name")
      (rule (unknown != [ ]) "has an unknown placeholder: {${concatStringsSep "}, {" unknown}}")
    ];
in
{
  inherit
    fill
    firstOf
    matches
    namesIn
    rule
    secondsOf
    template
    time
    ;
}
