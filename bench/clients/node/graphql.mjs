// graphql-redis-subscriptions under graphql's own subscribe().
import { GraphQLObjectType, GraphQLSchema, GraphQLString, parse, subscribe } from 'graphql';
import { RedisPubSub } from 'graphql-redis-subscriptions';
import { Redis } from 'ioredis';
import { Redis as Redis6 } from 'ioredis6';
import { assert, inbox, run, url } from './scenario.mjs';

const scenarios = {};
for (const [name, Client] of Object.entries({ ioredis5: Redis, ioredis6: Redis6 })) {
  const prefix = `graphql:${name}`;
  const pubsub = new RedisPubSub({ publisher: new Client(url), subscriber: new Client(url) });
  const control = new Redis(url);
  const subscribers = async (channel) => (await control.call('PUBSUB', 'NUMSUB', channel))[1];

  scenarios[`channel-${name}`] = async () => {
    const box = inbox();
    const id = await pubsub.subscribe(`${prefix}:c`, box.push);
    const second = await pubsub.subscribe(`${prefix}:c`, box.push);
    assert.equal(await subscribers(`${prefix}:c`), 1); // one subscription serves both
    await pubsub.publish(`${prefix}:c`, { n: 1 });
    assert.deepEqual(await box.next(), [{ n: 1 }]);
    assert.deepEqual(await box.next(), [{ n: 1 }]);
    pubsub.unsubscribe(id);
    pubsub.unsubscribe(second);
    while ((await subscribers(`${prefix}:c`)) > 0);
  };

  scenarios[`pattern-${name}`] = async () => {
    const box = inbox();
    const id = await pubsub.subscribe(`${prefix}:p:*`, box.push, { pattern: true });
    await pubsub.publish(`${prefix}:p:1`, 'hello');
    assert.deepEqual(await box.next(), ['hello']);
    pubsub.unsubscribe(id);
  };

  scenarios[`subscription-${name}`] = async () => {
    const schema = new GraphQLSchema({
      query: new GraphQLObjectType({ name: 'Query', fields: { unused: { type: GraphQLString } } }),
      subscription: new GraphQLObjectType({
        name: 'Subscription',
        fields: {
          news: { type: GraphQLString, subscribe: () => pubsub.asyncIterableIterator(`${prefix}:news`) },
        },
      }),
    });
    const events = await subscribe({ schema, document: parse('subscription { news }') });
    // The package drops messages that come right behind the confirmation of
    // its subscription, so the first is published until it is heard.
    let heard = false;
    const first = events.next().finally(() => { heard = true; });
    while (!heard) {
      await pubsub.publish(`${prefix}:news`, { news: 'one' });
      await new Promise(setImmediate);
    }
    assert.equal((await first).value.data.news, 'one');
    await pubsub.publish(`${prefix}:news`, { news: 'two' });
    let news = 'one';
    while (news === 'one') news = (await events.next()).value.data.news;
    assert.equal(news, 'two');
    await events.return();
    while ((await subscribers(`${prefix}:news`)) > 0);
  };
}

await run('graphql-redis-subscriptions', scenarios);
