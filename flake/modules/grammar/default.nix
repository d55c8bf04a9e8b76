# What flakeup refuses in `activation` (docs/config.md), reported when the host is evaluated.
#
# Only builtins are used, so that it works without nixpkgs: a test compares it with flakeup's own
# parser. Two things are left to that parser: unprintable characters outside ASCII, and whether a
# release has what `{appRef}` stands for.
let
  inherit (builtins)
    any
    attrNames
    concatLists
    concatStringsSep
    elem
    elemAt
    filter
    head
    length
    match
    replaceStrings
    ;
  inherit (import ./text.nix)
    fill
    firstOf
    matches
    rule
    secondsOf
    template
    time
    ;
  inherit (import ./address.nix) endpoint;

  maxChecks = 16;
  maxMayFail = 32;
  # Seconds of `confirm` that are left to the connection of the commit.
  commitReserve = 5;

  kinds = [
    "http"
    "tcp"
    "unit"
    "command"
  ];
  defaults = {
    settle = "10s";
    checkDeadline = "2m";
    confirm = "2m";
    period = "1s";
    timeout = "5s";
    hold = "0s";
    retries = 10;
    from = "host";
  };

  times = {
    settle = time {
      most = "10m";
      zero = true;
    };
    checkDeadline = time { most = "1h"; };
    confirm = time { most = "1h"; };
    period = time { most = "10m"; };
    timeout = time { most = "10m"; };
    hold = time {
      most = "1h";
      zero = true;
    };
  };

  # --- what is checked -----------------------------------------------------------------------

  targets = {
    command = template;
    tcp = text: orElse (template text) (endpoint true text);
    unit =
      text:
      firstOf (
        [
          (rule (!matches "[A-Za-z0-9:_.@\\-]{1,255}" text) "is not 1 to 255 of A-Z a-z 0-9 : _ . @ \\ -")
        ]
        ++ nameOfUnit text
      );
    http =
      text:
      let
        parts = match "https?://([^/?#]*)(.*)" text;
        rest = fill (elemAt parts 1);
      in
      orElse (template text) (
        if parts == null then
          [ "does not begin with http:// or https://" ]
        else if matches ".*@.*" (head parts) then
          [ "has a user or password in it" ]
        else
          endpoint false (head parts)
          ++ firstOf [
            (rule (!matches "[]!$-;=?-Z[_a-z~]*" rest) "has a character that a url cannot have")
          ]
      );
  };
  nameOfUnit = text: [
    (rule (matches "-.*" text) "starts with '-'")
    (rule (
      !matches "[^.].*[.](service|socket|target|timer|mount|path)" text
    ) "is not a service, socket, target, timer, mount or path")
  ];
  # `*` stands for any text.
  unitPattern =
    text:
    firstOf (
      [
        (rule (matches "[*].*" text) "starts with '*'")
        (rule (
          !matches "[A-Za-z0-9:_.@\\*-]{1,255}" text
        ) "is not 1 to 255 of A-Z a-z 0-9 : _ . @ \\ * -")
      ]
      ++ nameOfUnit (replaceStrings [ "*" ] [ "x" ] text)
    );
  orElse = first: second: if first == [ ] then second else first;

  # --- one check, and all --------------------------------------------------------------------

  kindsOf = check: filter (kind: check ? ${kind}) kinds;

  inCheck =
    check:
    let
      found = kindsOf check;
      kind = head found;
      say = key: map (why: "${key}: ${why}");
      grammars =
        targets
        // times
        // {
          contains = template;
          header = template;
        };
      readable = filter (key: check ? ${key} && grammars ? ${key}) (attrNames check);
      between =
        key: least: most:
        firstOf [
          (rule (
            check ? ${key} && (check.${key} < least || check.${key} > most)
          ) "${key}: is not in ${toString least} to ${toString most}")
        ];
      isFrom = check.from or defaults.from;
    in
    concatLists (map (key: say key (grammars.${key} check.${key})) readable)
    ++ between "status" 200 599
    ++ between "retries" 0 1000
    ++ (
      if found == [ ] then
        [ "does not say what to check: write one of http, tcp, unit and command" ]
      else if length found > 1 then
        [ "has more than one kind: ${concatStringsSep ", " found}; write one check for each" ]
      else
        map (key: "${key}: cannot be used with ${kind}") (
          filter (key: kind != "http" && check ? ${key}) [
            "status"
            "contains"
            "header"
          ]
        )
        ++ firstOf [
          (rule (
            isFrom == "deployer"
            && elem kind [
              "unit"
              "command"
            ]
          ) "from: cannot be used with ${kind}: only the host can look at it")
        ]
    );

  isName = matches "[A-Za-z0-9_][A-Za-z0-9_-]{0,62}";

  # Whether the pauses and `hold` alone take longer than the deadline; for values that can be read.
  misfit =
    activation: check:
    let
      seconds = key: secondsOf (check.${key} or defaults.${key});
      of = key: secondsOf (activation.${key} or defaults.${key});
      longest = (check.retries or defaults.retries) * seconds "period" + seconds "hold";
      onHost = (check.from or defaults.from) == "host";
    in
    firstOf [
      (rule (
        onHost && longest + of "settle" > of "checkDeadline"
      ) "may take too long: settle, retries and hold are more than checkDeadline")
      (rule (
        !onHost && longest + commitReserve > of "confirm"
      ) "may take too long: retries and hold, and ${toString commitReserve}s, are more than confirm")
    ];

  # All problems of `activation`; keys that are not set are absent.
  problems =
    activation:
    let
      named = activation.checks or { };
      mayFail = activation.mayFail or [ ];
      own = filter (key: activation ? ${key}) [
        "settle"
        "checkDeadline"
        "confirm"
      ];
      ofTimes = concatLists (map (key: map (why: "${key}: ${why}") (times.${key} activation.${key})) own);
      of = key: secondsOf (activation.${key} or defaults.${key});
      ofCheck =
        name:
        (if isName name then [ ] else [ "its name is not 1 to 63 of A-Z a-z 0-9 _ -" ])
        ++ inCheck named.${name};
      broken = any (name: ofCheck name != [ ]) (attrNames named) || ofTimes != [ ];
    in
    ofTimes
    ++ concatLists (map (unit: map (why: "mayFail: ${unit}: ${why}") (unitPattern unit)) mayFail)
    ++ firstOf [
      (rule (
        length mayFail > maxMayFail
      ) "mayFail: ${toString (length mayFail)} units: at most ${toString maxMayFail} are allowed")
    ]
    ++ concatLists (map (name: map (why: "checks.${name}: ${why}") (ofCheck name)) (attrNames named))
    ++ (
      if broken then
        [ ]
      else if of "settle" >= of "checkDeadline" then
        [ "settle: leaves no time to check: settle is not shorter than checkDeadline" ]
      else
        concatLists (
          map (name: map (why: "checks.${name}: ${why}") (misfit activation named.${name})) (attrNames named)
        )
    )
    ++ firstOf [
      (rule (
        length (attrNames named) > maxChecks
      ) "checks: ${toString (length (attrNames named))} for one host: at most ${toString maxChecks} are allowed")
    ];
in
{
  inherit problems;
}
