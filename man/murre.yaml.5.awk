# Makes the manual page murre.yaml(5) from the table that `murre config` prints (from src/main/config.def, the only place where settings are
# described). Nothing of a setting is written here, so that the page cannot be out of date. usage: murre config | awk -f man/murre.yaml.5.awk
function text(s) {
    gsub(/\\/, "\\e", s)
    gsub(/-/, "\\-", s)
    gsub(/`/, "", s)
    sub(/^\./, "\\\\\\&.", s)
    return s
}
BEGIN {
    print ".Dd November 23, 2026"
    print ".Dt MURRE.YAML 5"
    print ".Os"
    print ".Sh NAME"
    print ".Nm murre.yaml"
    print ".Nd settings of the murre server"
    print ".Sh DESCRIPTION"
    print "A file that"
    print ".Xr murre 1"
    print "reads with"
    print ".Fl c ."
    print "It is YAML; keys are nested"
    print ".Pq Li xmpp: No then Li listen:"
    print "or dotted"
    print ".Pq Li xmpp.listen: ."
    print ".Li murre check"
    print "says whether a file is right."
    print "A time is a number with us, ms, s, m, h or d; bytes take k, M or G (powers of 1024)."
    print ".Sh SETTINGS"
    print ".Bl -tag -width indent"
}
/^\| `/ {
    n = split($0, cell, / \| /)
    key = cell[1]
    sub(/^\| /, "", key)
    meaning = cell[5]
    sub(/ \|$/, "", meaning)
    for (i = 6; i <= n; i++) { # a bar within the meaning
        rest = cell[i]
        sub(/ \|$/, "", rest)
        meaning = meaning " | " rest
    }
    print ".It Li " text(key)
    print text(meaning) "."
    print ".br"
    print "Default: " text(cell[2]) ".  Unit: " text(cell[3]) "." (cell[4] != "" ? "  Range: " text(cell[4]) "." : "")
    settings++
}
END {
    print ".El"
    print ".Sh SEE ALSO"
    print ".Xr murre 1"
    if (!settings) exit 1
}
