sh -c 'exit 0'; echo $?
sh -c 'exit 255'; echo $?
sh -c 'kill -9 $$'; echo $?
sh -c 'kill -ABRT $$' 2>/dev/null; echo $?
nosuchcommand 2>&1; echo $?
/etc/passwd 2>&1; echo $?
echo to stderr >&2
exit 42
