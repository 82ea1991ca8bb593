# Where this machine's Debian packages come from, read from apt itself, whatever form its source lists have.
# Sourced by bash, never run.
# shellcheck shell=bash

# debian_mirror LABEL: the URI of the archive that calls itself so: Debian, or Debian-Security. Nothing when there is none.
debian_mirror()
{
    # shellcheck disable=SC2016  # apt expands these
    apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(CODENAME)|$(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
        awk -F'|' -v label="$1" '
            # bookworm-updates and -backports are in the same place, or in one that holds nothing else
            $1 == "Debian" && $2 == label && ($3 !~ /-/ || label != "Debian") { sub(/\/$/, "", $4); print $4; exit }'
}

# trust_of URI: the option by which the user's own entry trusts it: signed-by=FILE, trusted=yes, or else the usual keyring.
trust_of()
{
    local option
    option=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
        awk -v uri="${1%/}" '
            function finish() { if (mine && option != "" && !found) { print option; found = 1 } mine = 0; option = "" }
            { sub(/\r$/, "") }
            /^[ \t]*#/ { next }
            /^[ \t]*$/ { finish(); next }
            /^deb(-src)?[ \t]/ {
                finish()
                line = $0
                if (match(line, /\[[^]]*\]/)) {
                    n = split(substr(line, RSTART + 1, RLENGTH - 2), words, /[ \t]+/)
                    for (i = 1; i <= n; i++)
                        if (words[i] ~ /^(signed-by=\/|trusted=yes)/) option = words[i]
                    sub(/\[[^]]*\]/, "", line)
                }
                split(line, words, /[ \t]+/)
                sub(/\/$/, "", words[2])
                mine = words[2] == uri
                finish()
                next
            }
            tolower($1) == "types:"     { finish() }
            tolower($1) == "uris:"      { for (i = 2; i <= NF; i++) { sub(/\/$/, "", $i); if ($i == uri) mine = 1 } }
            tolower($1) == "signed-by:" { if ($2 ~ /^\//) option = "signed-by=" $2 }
            tolower($1) == "trusted:"   { if (tolower($2) == "yes") option = "trusted=yes" }
            END { finish() }')
    printf '%s' "${option:-signed-by=/usr/share/keyrings/debian-archive-keyring.gpg}"
}
