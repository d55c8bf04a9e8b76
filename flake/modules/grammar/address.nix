# The host and port in a health check.
let
  inherit (builtins)
    all
    elem
    elemAt
    filter
    fromJSON
    genList
    head
    isList
    length
    match
    split
    ;
  inherit (import ./text.nix)
    fill
    firstOf
    matches
    namesIn
    rule
    ;

  isLabel = matches "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
  labelsOf = text: filter (part: !isList part) (split "[.]" text);

  bytesOf = match "([0-9]{1,3})[.]([0-9]{1,3})[.]([0-9]{1,3})[.]([0-9]{1,3})";
  isByte = digits: matches "0|[1-9][0-9]*" digits && fromJSON digits <= 255;
  isIpv4 = text: bytesOf text != null && all isByte (bytesOf text);

  ipv4 =
    text:
    let
      bytes = map fromJSON (bytesOf text);
      first = head bytes;
    in
    firstOf [
      (rule (!isIpv4 text) "is neither a host name nor an IP address")
      (rule (first == 169 && elemAt bytes 1 == 254) "is a link-local address")
      (rule (
        text == "0.0.0.0" || text == "255.255.255.255" || (first >= 224 && first <= 239)
      ) "is not the address of one host")
    ];

  # Addresses that no host can have: the common ones.
  ipv6 =
    text:
    let
      groups = filter (part: !isList part && part != "") (split ":" text);
      most = length groups - 1;
      last = elemAt groups most;
      isGroup = matches "[0-9A-Fa-f]{1,4}";
      # An IPv4 address at the end stands for two groups.
      count = length groups + (if most >= 0 && isIpv4 last then 1 else 0);
    in
    firstOf [
      (rule (
        !all (at: isGroup (elemAt groups at)) (genList (at: at) (if most > 0 then most else 0))
        || most >= 0 && !isGroup last && !isIpv4 last
        || matches ".*:::.*|.*::.*::.*|:[^:].*|.*[^:]:" text
        || (if matches ".*::.*" text then count > 7 else count != 8)
      ) "is neither a host name nor an IP address")
      (rule (matches "[Ff][Ee][89AaBb].*" text) "is a link-local address")
      (rule (text == "::" || matches "[Ff][Ff].*" text) "is not the address of one host")
    ];

  host =
    text:
    if !matches "[A-Za-z0-9.:-]{1,253}" text then
      [ "is not a host name or an address" ]
    else if matches ".*:.*" text then
      ipv6 text
    else if matches "(.*[.])?[0-9]+" text then
      ipv4 text
    else
      firstOf [ (rule (!all isLabel (labelsOf text)) "is not a host name") ];

  port =
    digits:
    firstOf [
      (rule (!matches "[0-9]{1,9}" digits) "is not a number")
      (rule (number digits < 1 || number digits > 65535) "is not in 1 to 65535")
    ];
  number = digits: fromJSON (head (match "0*([0-9]+)" digits));

  endpoint =
    needsPort: text:
    let
      strange = filter (
        name:
        !elem name [
          "address"
          "name"
        ]
      ) (namesIn text);
      parts = match "(\\[([^]]*)]|([^]:[]*))(:(.*))?" (fill text);
      numeric = elemAt parts 1;
      name = if numeric == null then elemAt parts 2 else numeric;
      digits = elemAt parts 4;
      of = part: map (why: "the ${part} in it ${why}");
    in
    if strange != [ ] then
      [ "has a placeholder where a host and port belong: {${head strange}}" ]
    else if parts == null then
      [ "is not a host and port" ]
    else if numeric != null && !matches ".*:.*" numeric then
      [ "has brackets around something other than an IPv6 address" ]
    else if name == "" then
      [ "has no host" ]
    else
      of "host" (host name)
      ++ (
        if digits != null then
          of "port" (port digits)
        else if needsPort then
          [ "has no port" ]
        else
          [ ]
      );
in
{
  inherit endpoint;
}
