# Completion of omsfab for bash: source this file, in ~/.bashrc say.
_omsfab() {
  local IFS=$'\n' found
  # The word at hand is the last one, whatever stands behind the cursor.
  found=$("${COMP_WORDS[0]}" --complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  local word=$2
  [ "$word" = = ] && word=
  COMPREPLY=($(compgen -W "$found" -- "$word"))
  case ${COMPREPLY[0]} in *=) compopt -o nospace ;; esac
}
complete -o default -F _omsfab omsfab
