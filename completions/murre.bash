# bash completion for murre, murrectl, murre-sim and murre-history. What can be completed is asked of the programs, and by murrectl of the running server:
# nothing is written down here that they know.

# Words of the line up to the cursor as they were typed: bash itself would also split at @ and :, which are within JIDs and addresses.
_murre_words() {
    local line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    typed=${words[${#words[@]} - 1]}
}

# Takes candidates from standard input; bash replaces only what stands after the last of its word breaks.
_murre_reply() {
    local candidate rest=$typed
    [[ $typed != [\'\"]* ]] && rest=${typed##*[@:<>=]}
    local before=${typed%"$rest"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        if [[ $typed == [\'\"]* ]]; then
            COMPREPLY+=("$candidate")
        else
            printf -v candidate %q "${candidate#"$before"}"
            COMPREPLY+=("$candidate")
        fi
    done
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
}

_murrectl() {
    local words typed
    _murre_words
    local last=${typed#[\'\"]}
    _murre_reply < <("$1" complete "${words[@]:1:${#words[@]} - 2}" "$last" 2>/dev/null)
}

_murre() {
    local words typed
    _murre_words
    local before=${words[${#words[@]} - 2]}
    if [[ $before == -c ]]; then
        _murre_reply < <(compgen -f -- "$typed")
    elif [[ $before == --set ]]; then
        _murre_reply < <(compgen -W "$("$1" config | sed -n 's/^| `\([^`]*\)`.*/\1=/p')" -- "$typed")
        compopt -o nospace
    elif [[ ${#words[@]} -eq 2 ]]; then
        _murre_reply < <(compgen -W "$("$1" help | sed -n 's/^.*murre \([a-z]*\).*/\1/p')" -- "$typed")
    else
        _murre_reply < <(compgen -W "$("$1" help | grep -w "murre ${words[1]}" | grep -oE -- '-c|--[a-z]+')" -- "$typed")
    fi
}

_murre_sim() {
    local words typed
    _murre_words
    if [[ ${words[${#words[@]} - 2]} == --scenario ]]; then
        _murre_reply < <(compgen -W "$("$1" --list | awk '{ print $1 }')" -- "$typed")
    else
        _murre_reply < <(compgen -W "$("$1" --help 2>&1 | grep -oE -- '--[a-z-]+')" -- "$typed")
    fi
}

_murre_history() {
    local words typed
    _murre_words
    if [[ ${#words[@]} -eq 2 ]]; then
        _murre_reply < <(compgen -W check -- "$typed")
    elif [[ $typed == -* ]]; then
        _murre_reply < <(compgen -W "$("$1" --help 2>&1 | grep -oE -- '--[a-z-]+')" -- "$typed")
    else
        _murre_reply < <(compgen -f -- "$typed")
    fi
}

complete -F _murrectl murrectl
complete -F _murre murre
complete -F _murre_sim murre-sim
complete -F _murre_history murre-history
