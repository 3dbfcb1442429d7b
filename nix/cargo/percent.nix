# Decodes a percent-encoded text: Cargo.lock version 4 writes a branch `a/b` as `a%2Fb`. Only ASCII
# is decoded, because Nix can't make other characters from their codes.
text:
let
  digits = {
    "0" = 0;
    "1" = 1;
    "2" = 2;
    "3" = 3;
    "4" = 4;
    "5" = 5;
    "6" = 6;
    "7" = 7;
    "8" = 8;
    "9" = 9;
    A = 10;
    B = 11;
    C = 12;
    D = 13;
    E = 14;
    F = 15;
    a = 10;
    b = 11;
    c = 12;
    d = 13;
    e = 14;
    f = 15;
  };
  # The printable characters of ASCII, from the space on.
  ascii =
    " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    + "[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
  character =
    code:
    if code >= 32 && code < 127 then
      builtins.substring (code - 32) 1 ascii
    else
      throw (
        "Cargo.lock names the branch or tag \"${text}\", whose name is not printable ASCII, "
        + "so Nix can't fetch it: use `rev`"
      );
  decode =
    part:
    if builtins.isString part then
      part
    else
      character (digits.${builtins.elemAt part 0} * 16 + digits.${builtins.elemAt part 1});
in
builtins.concatStringsSep "" (map decode (builtins.split "%([0-9A-Fa-f])([0-9A-Fa-f])" text))
