#compdef reelay
# zsh completion of reelay: source <(reelay completion zsh), or this file as _reelay in a directory of $fpath
_reelay() {
	local -a found
	found=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	found=("${(@)found:#}")
	if (( ${#found} )); then compadd -- "${found[@]}"; else _files; fi
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _reelay "$@"; else compdef _reelay reelay; fi
