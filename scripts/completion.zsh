#compdef omsfab
# Completion of omsfab for zsh: source this file behind compinit, in ~/.zshrc say.
_omsfab() {
  local -a found flags
  found=(${(f)"$(${words[1]} --complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
  flags=(${(M)found:#*=})
  found=(${found:#*=})
  (( $#flags + $#found )) || { _files; return }
  compadd -S '' -a flags
  compadd -a found
}
compdef _omsfab omsfab
