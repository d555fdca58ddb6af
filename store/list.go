package store

// list is a queue of entries of one shard, oldest first, linked through them.
type list struct{ oldest, newest ref }

func (l *list) push(sh *shard, r ref, e *entry) {
	e.older, e.newer = l.newest, 0
	if l.newest != 0 {
		sh.at(l.newest).newer = r
	} else {
		l.oldest = r
	}
	l.newest = r
}

func (l *list) remove(sh *shard, e *entry) {
	l.point(sh, e, e.newer, e.older)
	e.older, e.newer = 0, 0
}

// point makes e's neighbours, or the ends of l, point elsewhere.
func (l *list) point(sh *shard, e *entry, forward, back ref) {
	if e.older != 0 {
		sh.at(e.older).newer = forward
	} else {
		l.oldest = forward
	}
	if e.newer != 0 {
		sh.at(e.newer).older = back
	} else {
		l.newest = back
	}
}

// rotate makes everything up to last, the oldest included, the newest.
func (l *list) rotate(sh *shard, last ref) {
	end := sh.at(last)
	if end.newer == 0 {
		return
	}
	sh.at(l.newest).newer, sh.at(l.oldest).older = l.oldest, l.newest
	l.oldest, l.newest = end.newer, last
	sh.at(l.oldest).older, end.newer = 0, 0
}
