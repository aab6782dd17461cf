# fish completion of reelay: reelay completion fish | source
function __reelay_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] __complete $words[2..-1] 2>/dev/null
end
function __reelay_has
    test -n "$(__reelay_complete)"
end
complete -c reelay -n __reelay_has -f -a '(__reelay_complete)'
