import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QueryParameters, xml, xmlAnswer, xmlError } from './query-protocol.ts';

test('texts, structures, lists and maps of a form, in the forms that SQS and SNS give them', () => {
  const query = QueryParameters.parse([
    'Action=Send', 'Body=a%20b+c%26', 'AttributeName.1=All', 'AttributeName.2=x', 'Attributes.member.1=m',
    'Entry.10.Id=ten', 'Entry.2.Id=two', 'Entry.2.Value.StringValue=v.w', 'Attribute.1.Name=n', 'Attribute.1.Value=v',
    'Tag.1.Key=k', 'Tag.1.Value=', 'Map.entry.1.key=a', 'Map.entry.1.value=b', 'Attr.entry.1.Name=c', 'Attr.entry.1.Value.DataType=String',
  ].join('&'));
  assert.deepEqual([query.text('Action'), query.text('Body'), query.text('None'), query.text('Entry')], ['Send', 'a b c&', undefined, undefined]);
  assert.deepEqual([query.texts('AttributeName'), query.texts('Attributes'), query.texts('None')], [['All', 'x'], ['m'], []]);
  assert.deepEqual(query.structures('Entry').map((entry) => entry.text('Id')), ['two', 'ten']);
  assert.equal(query.structures('Entry')[0]?.structure('Value')?.text('StringValue'), 'v.w');
  assert.equal(query.structure('Body'), undefined);
  assert.deepEqual([query.map('Attribute'), query.map('Tag'), query.map('Map'), query.map('None')], [{ n: 'v' }, { k: '' }, { a: 'b' }, {}]);
  assert.deepEqual(query.entries('Attr').map(([name, value]) => [name, value.text('DataType')]), [['c', 'String']]);
});

test('a parameter name cannot reach what is not a parameter', () => {
  const query = QueryParameters.parse('__proto__.1=a&constructor=b&Map.entry.1.key=__proto__&Map.entry.1.value=x');
  assert.deepEqual([query.text('toString'), query.text('constructor'), Object.keys(query.map('Map'))], [undefined, 'b', ['__proto__']]);
});

test('answers and errors in XML', () => {
  assert.equal(xml('A', { B: ['1', '2'], C: undefined, D: { E: true }, F: '' }), '<A><B>1</B><B>2</B><D><E>true</E></D><F></F></A>');
  assert.equal(xml('A', '<&>"\r\n\t'), '<A>&lt;&amp;&gt;&quot;&#xD;&#xA;&#x9;</A>');
  const answer = xmlAnswer('Do', 'urn:x', { Id: 1 }, 'r');
  assert.deepEqual([answer.status, answer.headers['content-type']], [200, 'text/xml']);
  assert.equal(answer.body, '<?xml version="1.0"?><DoResponse xmlns="urn:x"><DoResult><Id>1</Id></DoResult>'
    + '<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></DoResponse>');
  assert.doesNotMatch(xmlAnswer('Do', 'urn:x', undefined, 'r').body, /DoResult/);
  const error = xmlError('urn:x', { code: 'NotFound', message: 'a < b', status: 404 }, 'r');
  assert.equal(error.status, 404);
  assert.match(error.body, /<Error><Type>Sender<\/Type><Code>NotFound<\/Code><Message>a &lt; b<\/Message>/);
});
