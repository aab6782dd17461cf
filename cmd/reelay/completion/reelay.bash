# bash completion of reelay: source <(reelay completion bash)
_reelay() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words
	words=("${COMP_WORDS[@]:1:COMP_CWORD}")
	# bash parts --flag=value at the sign; the words are those that the flag and the value make.
	if [[ $cur == = ]]; then
		words=("${words[@]:0:${#words[@]}-1}" "")
		cur=
	elif [[ $prev == = ]]; then
		words=("${words[@]:0:${#words[@]}-2}" "$cur")
	fi
	mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" __complete "${words[@]}" 2>/dev/null)
}
complete -o default -o nosort -F _reelay reelay
