$P/vsyscall
