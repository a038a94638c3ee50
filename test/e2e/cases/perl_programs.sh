# shell: /bin/dash
# timeout: 120
cat > run.pl <<'PERL'
use strict; use warnings;
use POSIX qw(:sys_wait_h strftime floor); use Socket; use File::Find; use File::Temp; use Fcntl qw(:flock);
use Time::HiRes qw(usleep ualarm); use IO::Handle; use Digest::SHA qw(sha256_hex); use Data::Dumper; use Storable qw(dclone);
$| = 1;
my %count; find(sub { $count{/(\.[a-z]+)$/ ? $1 : "none"}++ if -f }, "/usr/share/perl5/Debian"); print join(" ", map { "$_=$count{$_}" } sort keys %count), "\n";
pipe(my $r, my $w); my $pid = fork(); if (!$pid) { close $r; print $w "from the child\n"; close $w; exit 3 } close $w; print <$r>; waitpid($pid, 0); print $? >> 8, "\n";
local $SIG{ALRM} = sub { die "alarm\n" }; eval { ualarm(20000); select(undef, undef, undef, 2); }; print $@;
open(my $f, "+>", "data"); flock($f, LOCK_EX); print $f "x" x 100000; seek($f, 0, 0); read($f, my $all, 200000); print length($all), " ", sha256_hex($all), "\n"; truncate($f, 10); print -s "data", "\n";
socketpair(my $left, my $right, AF_UNIX, SOCK_STREAM, 0); $left->autoflush(1); print $left "over a socket\n"; print scalar <$right>;
my $out = `echo sub process`; print $out; open(my $p, "-|", "sort", "-r", "/etc/shells"); print scalar(() = <$p>), "\n"; close $p;
$SIG{CHLD} = 'IGNORE'; system("true"); print $? == -1 ? "ignored\n" : "waited\n";
local $Data::Dumper::Sortkeys = 1; print Dumper(dclone({ list => [1 .. 3], text => "a\x{e9}" }));
my $text = do { local $/; open my $l, "<", "/usr/share/common-licenses/GPL-3"; <$l> }; my %words; $words{lc $1}++ while $text =~ /(\w+)/g;
print "$_ $words{$_}\n" for (sort { $words{$b} <=> $words{$a} || $a cmp $b } keys %words)[0 .. 4];
print strftime("%Y-%m-%d", gmtime(86400 * 365)), "\n"; kill 'TERM', $$;
PERL
perl run.pl; echo "status $?"
