package server

import (
	"crema/resp"
)

// natives are the scripts that lock libraries ship, a shape each. A literal is
// called by its place in the script, from 0.
var natives = []native{
	{ // Redis's own pages, redsync to 4.11, RedLock.net, Laravel, phpredis, @upstash/lock
		`if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end`,
		1, 0, nativeRelease,
	},
	{
		`if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0`,
		1, 0, nativeRelease,
	},
	{ // redsync 4.12 and later
		`local value = redis.call('get', KEYS[1])
		if value == ARGV[1] then return redis.call('del', KEYS[1]) elseif value == false then return -1 else return 0 end`,
		1, 0, nativeReleaseOrGone,
	},
	{ // redsync, node-redlock to 3
		`if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) else return 0 end`,
		2, 2, nativeExtend,
	},
	{
		`if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('expire', KEYS[1], ARGV[2]) else return 0 end`,
		2, 2, nativeExtend,
	},
	{ // redsync with SetNX on extend
		`if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2])
		elseif redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2], 'nx') then return 1 else return 0 end`,
		2, 2, nativeExtendOrAcquire,
	},
	{ // node-redlock to 3
		`return redis.call('set', KEYS[1], ARGV[1], 'nx', 'px', ARGV[2])`,
		2, 2, nativeAcquire,
	},
	{ // node-redlock 4 and 5: acquire
		`for i, key in ipairs(KEYS) do if redis.call('exists', key) == 1 then return 0 end end
		for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1], 'px', ARGV[2]) end
		return #KEYS`,
		2, 2, nativeAcquireAll,
	},
	{ // node-redlock 4 and 5: extend
		`for i, key in ipairs(KEYS) do if redis.call('get', key) ~= ARGV[1] then return 0 end end
		for i, key in ipairs(KEYS) do redis.call('set', key, ARGV[1], 'px', ARGV[2]) end
		return #KEYS`,
		2, 2, nativeExtendAll,
	},
	{ // node-redlock 4 and 5: release
		`local n = 0
		for i, key in ipairs(KEYS) do if redis.call('get', key) == ARGV[1] then redis.pcall('del', key) n = n + 1 end end
		return n`,
		1, 0, nativeReleaseAll,
	},
	{ // redis-py: release
		`local token = redis.call('get', KEYS[1])
		if not token or token ~= ARGV[1] then return 0 end
		redis.call('del', KEYS[1])
		return 1`,
		1, 0, nativeRelease,
	},
	{ // redis-py: reacquire
		`local token = redis.call('get', KEYS[1])
		if not token or token ~= ARGV[1] then return 0 end
		redis.call('pexpire', KEYS[1], ARGV[2])
		return 1`,
		2, 2, nativeExtend,
	},
	{ // redis-py: extend
		`local token = redis.call('get', KEYS[1])
		if not token or token ~= ARGV[1] then return 0 end
		local left = redis.call('pttl', KEYS[1])
		if not left then left = 0 end
		if left < 0 then return 0 end
		local ttl = ARGV[2]
		if ARGV[3] == '0' then ttl = ARGV[2] + left end
		redis.call('pexpire', KEYS[1], ttl)
		return 1`,
		3, 2, nativeProlongOrExtend,
	},
	{ // @upstash/lock: extend
		`if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
		local left = redis.call('ttl', KEYS[1])
		if left > 0 then return redis.call('expire', KEYS[1], left + ARGV[2]) else return 0 end`,
		2, 2, nativeProlong,
	},
	{ // Laravel: refreshLock
		`if redis.call('get', KEYS[1]) == ARGV[1] then
		if tonumber(ARGV[2]) > 0 then return redis.call('expire', KEYS[1], ARGV[2]) end
		redis.call('persist', KEYS[1]) return 1 else return 0 end`,
		2, 2, nativeExtend,
	},
	{ // Laravel: add
		`return redis.call('exists', KEYS[1]) < 1 and redis.call('setex', KEYS[1], ARGV[2], ARGV[1])`,
		2, 2, nativeAdd,
	},
	{ // Spring's RedisLockRegistry: obtain
		`local holder = redis.call('get', KEYS[1])
		if holder == ARGV[1] then redis.call('pexpire', KEYS[1], ARGV[2]) return true
		elseif not holder then redis.call('set', KEYS[1], ARGV[1], 'px', ARGV[2]) return true end
		return false`,
		2, 2, nativeObtain,
	},
}

func nativeRelease(n *nativeRun) resp.Reply {
	if mine, _ := n.get(0, n.keys[0]); !mine {
		return resp.Zero
	}
	return n.call(1, n.keys[0])
}

func nativeReleaseOrGone(n *nativeRun) resp.Reply {
	mine, exists := n.get(0, n.keys[0])
	switch {
	case mine:
		return n.call(1, n.keys[0])
	case !exists:
		return resp.Int(-1)
	}
	return resp.Zero
}

func nativeExtend(n *nativeRun) resp.Reply {
	if mine, _ := n.get(0, n.keys[0]); !mine {
		return resp.Zero
	}
	return n.call(1, n.keys[0], n.argv[1])
}

func nativeExtendOrAcquire(n *nativeRun) resp.Reply {
	if mine, _ := n.get(0, n.keys[0]); mine {
		return n.call(1, n.keys[0], n.argv[1])
	}
	return oneIf(!n.call(2, n.keys[0], n.argv[0], n.s.words[3], n.argv[1], n.s.words[4]).IsNil())
}

func nativeAcquire(n *nativeRun) resp.Reply {
	return n.call(0, n.keys[0], n.argv[0], n.s.words[1], n.s.words[2], n.argv[1])
}

func nativeAcquireAll(n *nativeRun) resp.Reply {
	for _, key := range n.keys {
		if n.call(0, key).Int == 1 {
			return resp.Zero
		}
	}
	return n.setAll()
}

func nativeExtendAll(n *nativeRun) resp.Reply {
	for _, key := range n.keys {
		if mine, _ := n.get(0, key); !mine {
			return resp.Zero
		}
	}
	return n.setAll()
}

func (n *nativeRun) setAll() resp.Reply {
	for _, key := range n.keys {
		n.call(1, key, n.argv[0], n.s.words[2], n.argv[1])
	}
	return resp.Int(int64(len(n.keys)))
}

func nativeReleaseAll(n *nativeRun) resp.Reply {
	count := int64(0)
	for _, key := range n.keys {
		if mine, _ := n.get(0, key); mine {
			n.call(1, key)
			count++
		}
	}
	return resp.Int(count)
}

func nativeProlongOrExtend(n *nativeRun) resp.Reply {
	if mine, _ := n.get(0, n.keys[0]); !mine {
		return resp.Zero
	}
	left := n.call(1, n.keys[0]).Int
	if left < 0 {
		return resp.Zero
	}
	ttl := n.argv[1]
	if string(n.argv[2]) == "0" {
		if left > maxNativeLeft {
			return resp.None
		}
		ttl = n.later(left)
	}
	n.call(3, n.keys[0], ttl)
	return resp.One
}

func nativeProlong(n *nativeRun) resp.Reply {
	if mine, _ := n.get(0, n.keys[0]); !mine {
		return resp.Zero
	}
	left := n.call(1, n.keys[0]).Int
	if left <= 0 {
		return resp.Zero
	}
	if left > maxNativeLeft {
		return resp.None
	}
	return n.call(2, n.keys[0], n.later(left))
}

func nativeAdd(n *nativeRun) resp.Reply {
	if n.call(0, n.keys[0]).Int > 0 {
		return resp.Nil
	}
	return n.call(1, n.keys[0], n.argv[1], n.argv[0])
}

func nativeObtain(n *nativeRun) resp.Reply {
	mine, exists := n.get(0, n.keys[0])
	switch {
	case mine:
		n.call(1, n.keys[0], n.argv[1])
	case !exists:
		n.call(2, n.keys[0], n.argv[0], n.s.words[3], n.argv[1])
	default:
		return resp.Nil
	}
	return resp.One
}
