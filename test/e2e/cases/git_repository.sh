# shell: /bin/bash
# timeout: 300
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b HOME=$T
export GIT_AUTHOR_DATE='2026-01-01T00:00:00Z' GIT_COMMITTER_DATE='2026-01-01T00:00:00Z'
git init -q -b main repository && cd repository
for i in $(seq 1000); do mkdir -p d$((i % 20)); echo "file $i" > d$((i % 20))/f$i; done
git add . && git commit -q -m first; echo "status $?"
git log --oneline; git ls-files | wc -l; git status --short | wc -l
git rev-parse HEAD
sed -i 's/file/changed/' d3/*; git diff --stat | tail -1; git commit -qam second; git mv d4 moved; git rm -q d5/f5; git commit -qm third
git checkout -q -b side HEAD~1; echo side > side; git add side; git commit -qm side; git checkout -q main; git merge -q side -m merged; git log --graph --oneline
git stash list; echo x >> moved/f4; git stash -q; git stash pop -q; git checkout -q -- .
git fsck --full 2>&1; git gc -q; git count-objects -v | grep -c pack; git fsck 2>&1
cd .. && git clone -q repository copy && git -C copy log --oneline | wc -l && diff -r repository copy -x .git; echo "status $?"
git clone -q --bare repository bare.git && git -C copy remote add bare ../bare.git && git -C copy push -q bare main:pushed && git -C bare.git branch
git -C copy grep -c 'changed 3$' | head -3; git -C copy archive HEAD | tar t | wc -l; git -C copy blame side | cut -c1-8
